//! PostgreSQL as a client sees it: connections, COPY, session settings, identifiers, catalog
//! queries, client tools and a disposable server. Knows nothing of repositories.

mod authentication;
mod cancel;
pub mod capabilities;
pub mod catalog;
pub mod client_tools;
pub mod connection;
pub mod conninfo;
pub mod copy;
pub mod error;
mod exchange;
pub mod identifier;
mod login;
mod passfile;
pub mod pooler;
mod reach;
pub mod rows;
pub mod server;
mod server_message;
mod server_report;
pub mod session;
pub mod settings;
mod stream;
pub mod supabase;
mod tls;
mod wire;

pub use cancel::CancelHandle;
pub use connection::Connection;
pub use error::{ConnectError, QueryError, ServerError};
pub use settings::ConnectionSettings;
