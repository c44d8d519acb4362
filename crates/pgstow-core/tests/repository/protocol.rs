//! Several runs in one repository, driven into each other step by step.
