//! What the updater promises, on a simulated disk and with virtual time. [`rig`] has an orchestrator that can do all that
//! a real one can, wrong things included.

mod bad_answers;
mod boot;
mod boot_image;
mod deleted;
mod epochs;
mod guarding;
mod handover;
mod hosts;
mod invalid;
mod keeping;
mod model;
mod offers;
mod rig;
mod steering;
