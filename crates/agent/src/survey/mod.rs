//! How a connector learns what there is: which source topics it copies, what the destination lacks for them.
//!
//! [`plan`], [`configs`], [`blueprint`], [`course`], [`view`] and [`remark`] decide and are pure; [`cluster`] (by
//! [`own`] or [`librdkafka`]), [`create`], [`attempt`] and [`run`] ask and do. Rules that need to see several
//! connectors are the coordinator's.

mod attempt;
pub(crate) mod blueprint;
pub(crate) mod cluster;
pub(crate) mod configs;
mod course;
pub(crate) mod create;
mod identity;
mod librdkafka;
mod own;
mod place;
mod plan;
pub(crate) mod remark;
mod run;
pub(crate) mod view;

pub use run::{SurveyContext, run};
