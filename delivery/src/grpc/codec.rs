//! The stream itself. Batches are already encoded, so the codec only copies them.

use std::sync::Arc;

use prost::Message;
use prost::bytes::BufMut;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Endpoint;
use tonic::{Request, Status};
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
pub(crate) async fn open(endpoint: Endpoint, token: Option<Bearer>) -> Result<Link, Status> {
    let unreachable = |error: tonic::transport::Error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
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
    let acks = client.streaming(request, path, Encoded).await?.into_inner();
    Ok(Link { batches, acks, greeted: false })
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
