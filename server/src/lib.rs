//! Wires the parts into a server: configuration, core loop, the commands of connection and server, and insight.

pub mod admin;
pub mod apply;
pub mod auth_guard;
pub mod batch;
pub mod boot;
pub mod clients;
pub mod cluster_map;
pub mod commands;
pub mod config;
pub mod core_loop;
pub mod core_state;
pub mod core_thread;
pub mod dispatch;
pub mod log_driver;
pub mod logging;
pub mod metrics;
pub mod reply;
pub mod spin;
pub mod startup;
pub mod tally;
pub mod window;
