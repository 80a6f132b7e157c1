//! Wires the parts into a server: configuration, core loop, the commands of connection and server, and insight.

pub mod admin;
pub mod auth_guard;
pub mod clients;
pub mod commands;
pub mod config;
pub mod logging;
pub mod metrics;
pub mod startup;
