//! The doors of the agent. A front end translates; it never decides.

pub mod native;
