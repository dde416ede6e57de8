//! The gateway: everything of Holdgate but the table itself, which is `routing-cache`.
//!
//! docs/ARCHITECTURE.md lists the floors; a module imports only from below its own, and a test holds that.

pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod drain;
pub mod message;
pub mod net;
pub mod orchestrator;
pub mod overload;
pub mod priority;
pub mod probe;
pub mod proxy;
pub mod readiness;
pub mod sealed;
pub mod subscription;
pub mod takeover;
pub mod telemetry;
pub mod updates;
pub mod upstream;
pub mod watchdog;
