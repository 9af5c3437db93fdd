//! The stream itself. Batches are already encoded, so the codec only copies them.

use std::path::Path;
use std::sync::Arc;

use prost::Message;
use prost::bytes::BufMut;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};
use wec_pki::Tls;
use wec_proto::results::Ack;

use crate::SinkError;

/// Batches given to the connection before it has taken the earlier ones.
const ON_THE_WAY: usize = 4;

/// An open stream.
pub(crate) struct Link {
    pub(crate) batches: mpsc::Sender<Arc<[u8]>>,
    pub(crate) acks: Streaming<Ack>,
    /// Whether the greeting has been sent.
    pub(crate) greeted: bool,
}

/// The token, as in a call's metadata.
#[derive(Clone)]
pub(crate) struct Bearer(MetadataValue<Ascii>);

impl Bearer {
    pub(crate) fn new(token: &str) -> Result<Self, SinkError> {
        let value = MetadataValue::try_from(format!("Bearer {token}").into_bytes());
        let mut value = value.map_err(|_| SinkError::BadToken)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

/// Opens a stream; analytics answers before the first batch.
pub(crate) async fn open(
    endpoint: Endpoint,
    token: Option<Bearer>,
    tls: Option<Tls>,
) -> Result<Link, Status> {
    let explained = |error: String| tls.as_ref().map_or(error.clone(), |tls| tls.explained(&error));
    let unreachable = |error: tonic::transport::Error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {}", chain(cause)));
        let cause = explained(cause.unwrap_or_default());
        Status::unavailable(format!("analytics at {} cannot be reached{cause}", endpoint.uri()))
    };
    let channel = endpoint.connect().await.map_err(unreachable)?;
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(unreachable)?;
    let (batches, outgoing) = mpsc::channel(ON_THE_WAY);
    let path = PathAndQuery::from_static("/wec.results.v1.Results/Deliver");
    let mut request = Request::new(ReceiverStream::new(outgoing));
    if let Some(Bearer(value)) = token {
        request.metadata_mut().insert("authorization", value);
    }
    let acks = client.streaming(request, path, Encoded).await.map_err(|status| {
        // A server refuses a client's certificate after the handshake.
        match std::error::Error::source(&status) {
            Some(cause) if tls.is_some() => Status::new(status.code(), explained(chain(cause))),
            _ => status,
        }
    });
    let acks = acks?.into_inner();
    Ok(Link { batches, acks, greeted: false })
}

/// The error with its causes, each once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// TLS with analytics.
pub(crate) fn tls(tls: &Tls) -> Result<ClientTlsConfig, String> {
    let read = |file: &Path| {
        std::fs::read(file).map_err(|error| format!("cannot read {} for TLS: {error}", file.display()))
    };
    let files = tls.files();
    let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(&files.ca)?));
    Ok(match &files.client {
        None => config,
        Some((certificate, key)) => config.identity(Identity::from_pem(read(certificate)?, read(key)?)),
    })
}

#[derive(Clone, Copy, Debug)]
struct Encoded;

impl Codec for Encoded {
    type Encode = Arc<[u8]>;
    type Decode = Ack;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Encoded {
    type Item = Arc<[u8]>;
    type Error = Status;

    fn encode(&mut self, item: Arc<[u8]>, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.reserve(item.len());
        into.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = Ack;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Ack>, Status> {
        Ack::decode(from)
            .map(Some)
            .map_err(|error| Status::internal(format!("not an acknowledgement: {error}")))
    }
}
