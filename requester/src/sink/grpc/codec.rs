//! The stream itself. Batches are encoded already, so the codec only copies them.

use std::sync::Arc;

use prost::Message;
use prost::bytes::BufMut;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic::{Request, Status};
use wec_proto::results::Ack;

/// Batches handed to the connection before it has taken the ones before.
const ON_THE_WAY: usize = 4;

/// An open stream.
pub(super) struct Link {
    pub(super) batches: mpsc::Sender<Outgoing>,
    pub(super) acks: Streaming<Ack>,
    /// Whether the first batch has gone.
    pub(super) greeted: bool,
}

/// A batch, and what makes it the first of its stream: protobuf messages written one after another are one.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) batch: Arc<[u8]>,
    pub(super) hello: Option<Arc<[u8]>>,
}

/// Opens a stream; analytics answers before the first batch.
pub(super) async fn open(endpoint: Endpoint) -> Result<Link, Status> {
    let unreachable = |error: tonic::transport::Error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Status::unavailable(format!("analytics at {} cannot be reached{cause}", endpoint.uri()))
    };
    let channel = endpoint.connect().await.map_err(unreachable)?;
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(unreachable)?;
    let (batches, outgoing) = mpsc::channel(ON_THE_WAY);
    let path = PathAndQuery::from_static("/wec.results.v1.Results/Deliver");
    let acks =
        client.streaming(Request::new(ReceiverStream::new(outgoing)), path, Encoded).await?.into_inner();
    Ok(Link { batches, acks, greeted: false })
}

#[derive(Clone, Copy, Debug)]
struct Encoded;

impl Codec for Encoded {
    type Encode = Outgoing;
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
    type Item = Outgoing;
    type Error = Status;

    fn encode(&mut self, item: Outgoing, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.reserve(item.batch.len() + item.hello.as_ref().map_or(0, |hello| hello.len()));
        into.put_slice(&item.batch);
        if let Some(hello) = item.hello {
            into.put_slice(&hello);
        }
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = Ack;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Ack>, Status> {
        Ack::decode(from).map(Some).map_err(|error| Status::internal(format!("no acknowledgement: {error}")))
    }
}
