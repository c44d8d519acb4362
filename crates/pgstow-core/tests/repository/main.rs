//! The repository as a whole, on a real file system.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod audit;
mod children;
mod concurrency;
mod copy;
mod crash;
mod damage;
mod disk;
mod faulty;
mod fixture;
mod objects;
mod opening;
mod protocol;
mod prune;
mod sample;
mod store;
mod storm;
mod unfinished;
mod verification;
mod whole;
