//! Reaching the admin service: through the socket of a running server, or in this process beside a stopped one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use hyper_util::rt::TokioIo;
use proto::{
    AuthorityStanding, ChangeAuthorityRequest, CreateTokenRequest, CreateUserReply, CreateUserRequest,
    PutActReply, ReadAuthorityRequest, RenewUserReply, RenewUserRequest,
};
use rpc::v1::admin_client::AdminClient;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use crate::datadir::DataDirError;
use crate::node::{Node, NodeError};
use crate::service::admin::{AdminService, reply};
use crate::state::Detail;

/// The admin service, wherever it runs.
pub(crate) enum Admin {
    /// In the running server.
    Socket(AdminClient<Channel>),
    /// In this process: nothing else has the data directory open.
    Here(Box<Node>),
}

impl Admin {
    /// The admin service of a data directory.
    pub(crate) async fn at(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.to_owned();
        let opened =
            tokio::task::spawn_blocking(move || Node::open(&path, |_| {})).await.context("interrupted")?;
        match opened {
            Ok(node) => Ok(Self::Here(Box::new(node))),
            Err(NodeError::DataDir(DataDirError::Locked { .. })) => {
                Ok(Self::Socket(AdminClient::new(connect(dir.join("admin.sock")).await?)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Logs a token act and the records of serial numbers it names.
    pub(crate) async fn create_token(self, request: CreateTokenRequest) -> anyhow::Result<PutActReply> {
        match self {
            Self::Socket(mut client) => {
                let answer = client.create_token(request).await;
                Ok(answer.map_err(|status| anyhow::anyhow!("{}", status.message()))?.into_inner())
            }
            Self::Here(node) => {
                let service = AdminService::new(Arc::clone(&node.state), Arc::clone(&node.identities));
                let stored = service.token(request).await;
                drop(service);
                close(node).await?;
                Ok(reply(&stored?))
            }
        }
    }

    /// Logs a person act and gets their certificate.
    pub(crate) async fn create_user(
        self,
        envelope: Vec<u8>,
        detail: Detail,
        tls_spki: Vec<u8>,
    ) -> anyhow::Result<CreateUserReply> {
        let request = CreateUserRequest {
            envelope,
            detail: detail.bytes,
            detail_salt: detail.random.to_vec(),
            tls_spki,
        };
        match self {
            Self::Socket(mut client) => {
                let answer = client.create_user(request).await;
                Ok(answer.map_err(|status| anyhow::anyhow!("{}", status.message()))?.into_inner())
            }
            Self::Here(node) => {
                let service = AdminService::new(Arc::clone(&node.state), Arc::clone(&node.identities));
                let answer = service.user(request).await;
                drop(service);
                close(node).await?;
                Ok(answer?)
            }
        }
    }
}

impl Admin {
    /// A fresh certificate for a person on the roster.
    pub(crate) async fn renew_user(self, tls_spki: Vec<u8>) -> anyhow::Result<RenewUserReply> {
        let request = RenewUserRequest { tls_spki };
        match self {
            Self::Socket(mut client) => {
                let answer = client.renew_user(request).await;
                Ok(answer.map_err(|status| anyhow::anyhow!("{}", status.message()))?.into_inner())
            }
            Self::Here(node) => {
                let service = AdminService::new(Arc::clone(&node.state), Arc::clone(&node.identities));
                let answer = service.renew(&request);
                drop(service);
                close(node).await?;
                Ok(answer?)
            }
        }
    }
}

impl Admin {
    /// Whether a server runs here; what was opened for the question is closed.
    pub(crate) async fn look_for_server(self) -> anyhow::Result<bool> {
        match self {
            Self::Socket(_) => Ok(true),
            Self::Here(node) => close(node).await.map(|()| false),
        }
    }

    /// Takes a step of a change of an authority.
    pub(crate) async fn change_authority(
        self,
        request: ChangeAuthorityRequest,
    ) -> anyhow::Result<AuthorityStanding> {
        match self {
            Self::Socket(mut client) => {
                let answer = client.change_authority(request).await;
                Ok(answer.map_err(|status| anyhow::anyhow!("{}", status.message()))?.into_inner())
            }
            Self::Here(node) => {
                let service = AdminService::new(Arc::clone(&node.state), Arc::clone(&node.identities));
                let answer = service.change(&request).await;
                drop(service);
                close(node).await?;
                Ok(answer?)
            }
        }
    }

    /// How a change of an authority stands.
    pub(crate) async fn read_authority(self, of: String) -> anyhow::Result<AuthorityStanding> {
        match self {
            Self::Socket(mut client) => {
                let answer = client.read_authority(ReadAuthorityRequest { of }).await;
                Ok(answer.map_err(|status| anyhow::anyhow!("{}", status.message()))?.into_inner())
            }
            Self::Here(node) => {
                let service = AdminService::new(Arc::clone(&node.state), Arc::clone(&node.identities));
                let answer = service.authority(&of, 0);
                drop(service);
                close(node).await?;
                Ok(answer?)
            }
        }
    }
}

async fn close(node: Box<Node>) -> anyhow::Result<()> {
    tokio::task::spawn_blocking(move || node.close()).await.context("the writer did not stop")
}

async fn connect(socket: PathBuf) -> anyhow::Result<Channel> {
    let shown = socket.display().to_string();
    // The URI is never dialled: the connector goes to the socket.
    Endpoint::from_static("http://admin.invalid")
        .connect_with_connector(tower::service_fn(move |_: tonic::codegen::http::Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        }))
        .await
        .with_context(|| {
            format!("another process has the data directory open, and no server answers at {shown}")
        })
}
