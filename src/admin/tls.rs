//! The admin API over TLS, with a certificate from files.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use super::Access;

/// How long a client may take to agree on a secret.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Connections that are ready to be answered.
const READY: usize = 16;

/// Reads a certificate, with those that lead to its authority, and its key: both PEM.
///
/// # Errors
/// In plain words, with the file at fault.
pub fn certificate(chain: &Path, key: &Path) -> Result<Arc<ServerConfig>, String> {
    let at = |path: &Path| path.display().to_string();
    let certificates: Vec<_> = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect)
        .map_err(|error| format!("{}: no certificate could be read: {error}", at(chain)))?;
    if certificates.is_empty() {
        return Err(format!("{}: there is no certificate in it", at(chain)));
    }
    let secret = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| format!("{}: no private key could be read: {error}", at(key)))?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certificates, secret)
        .map_err(|error| format!("{} and {} do not go together: {error}", at(chain), at(key)))?;
    Ok(Arc::new(config))
}

/// Takes connections over TLS. A client that is slow to agree holds nobody up.
pub(super) struct Secured {
    address: SocketAddr,
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl Secured {
    /// With the newest certificate that `access` has; within a runtime.
    pub(super) fn new(
        listener: TcpListener,
        access: watch::Receiver<Arc<Access>>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (put, ready) = mpsc::channel(READY);
        tokio::spawn(async move {
            let mut listener = listener;
            loop {
                let (stream, peer) = tokio::select! {
                    () = put.closed() => return,
                    came = Listener::accept(&mut listener) => came,
                };
                let Some(config) = access.borrow().tls.clone() else {
                    continue;
                };
                // Events are small: none waits for the next.
                let _ = stream.set_nodelay(true);
                let put = put.clone();
                tokio::spawn(async move {
                    let agreed = TlsAcceptor::from(config).accept(stream);
                    match tokio::time::timeout(HANDSHAKE, agreed).await {
                        // Nobody takes it where the server has ended.
                        Ok(Ok(stream)) => drop(put.send((stream, peer)).await),
                        Ok(Err(error)) => tracing::debug!("{peer}: no TLS: {error}"),
                        Err(_) => tracing::debug!("{peer}: it took too long to agree"),
                    }
                });
            }
        });
        Ok(Self { address, ready })
    }
}

impl Listener for Secured {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(came) => came,
            // The taker of connections lives as long as this does.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
