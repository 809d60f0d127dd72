//! Reading public files over an open connection: plain GET, with limits.

use std::time::Duration;

use http_body_util::BodyExt as _;
use tonic::body::Body;
use tonic::codegen::http::{Request, StatusCode};
use tonic::transport::Channel;
use tower::ServiceExt as _;

/// Longest wait for one whole file.
const FILE_SECONDS_MAX: Duration = Duration::from_secs(30);

/// Why a file was not got.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The path cannot be asked for.
    #[error("{0:?} cannot be asked for")]
    Path(String),
    /// The connection failed.
    #[error("the connection failed while {path} was read")]
    Connection {
        /// What was asked for.
        path: String,
        /// What tonic said.
        source: tonic::transport::Error,
    },
    /// It broke off inside the file.
    #[error("{path} broke off")]
    Broken {
        /// What was asked for.
        path: String,
        /// What tonic said.
        source: tonic::Status,
    },
    /// The server answered something else.
    #[error("the server answered {status} for {path}")]
    Status {
        /// What was asked for.
        path: String,
        /// The HTTP status.
        status: u16,
    },
    /// More bytes than there can be.
    #[error("{path} has more than {bytes_max} bytes")]
    TooLarge {
        /// What was asked for.
        path: String,
        /// The limit, bytes.
        bytes_max: usize,
    },
    /// It took too long.
    #[error("{path} did not come within {} seconds", FILE_SECONDS_MAX.as_secs())]
    Silent {
        /// What was asked for.
        path: String,
    },
}

/// The file at `path` (with a slash in front), at most `bytes_max` bytes; none if the server has none.
pub async fn fetch(channel: Channel, path: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, FetchError> {
    let fetched = tokio::time::timeout(FILE_SECONDS_MAX, fetch_patiently(channel, path, bytes_max));
    fetched.await.map_err(|_| FetchError::Silent { path: path.to_owned() })?
}

async fn fetch_patiently(
    channel: Channel,
    path: &str,
    bytes_max: usize,
) -> Result<Option<Vec<u8>>, FetchError> {
    let path = || path.to_owned();
    let request = Request::get(path()).body(Body::empty()).map_err(|_| FetchError::Path(path()))?;
    let answered = channel.oneshot(request).await;
    let response = answered.map_err(|source| FetchError::Connection { path: path(), source })?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(None),
        other => return Err(FetchError::Status { path: path(), status: other.as_u16() }),
    }
    let (mut body, mut bytes) = (response.into_body(), Vec::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|source| FetchError::Broken { path: path(), source })?;
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > bytes_max {
                return Err(FetchError::TooLarge { path: path(), bytes_max });
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(Some(bytes))
}
