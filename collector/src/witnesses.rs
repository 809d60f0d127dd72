//! The log's witnesses, as C2SP tlog-witness knows them: asked about every checkpoint before it is published, and at each
//! start before anything is signed.
//!
//! The writer lays a checkpoint on the [`desk`](Desk) once it is in the journal; one task for each witness asks
//! and brings the answer there; [`rounds`] decides what the answers come to. A line is used only once it is verified under
//! the policy. What contradicts the log stops signing for the run, and is kept.

mod ask;
mod desk;
mod endpoint;
mod http;
mod kept;
pub mod rounds;
mod settings;
mod task;

pub use desk::Desk;
pub use endpoint::{Endpoint, EndpointError};
pub use http::REQUEST_SECONDS_MAX;
pub use settings::{Settings, SettingsError};
pub use task::{Surroundings, start};
