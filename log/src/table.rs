//! `Table`: a log as CSV (RFC 4180), for spreadsheets and data frames.

use std::io::Write;

use wec_record::{ChainResult, Record};

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Rows {
    /// One row for each HTTP attempt
    Requests,
    /// One row for each chain result
    Chains,
}

/// Writes rows.
#[derive(Debug)]
pub struct Table<W: Write> {
    rows: Rows,
    to: csv::Writer<W>,
}

/// Columns of both tables.
const OF_BOTH: [&str; 6] = ["node", "seq", "worker", "chain", "scenario", "profile"];
const OF_CHAINS: [&str; 22] = [
    "successful",
    "abandoned",
    "issued",
    "class",
    "status",
    "problem",
    "detail",
    "error",
    "unverified",
    "due_unix_ns",
    "started_unix_ns",
    "done_unix_ns",
    "took_ns",
    "keygen_ns",
    "waited_asked_ns",
    "waited_poll_ns",
    "issuance_ns",
    "requests",
    "authorizations",
    "origin_unix_ns",
    "order",
    "serial",
];
const OF_REQUESTS: [&str; 28] = [
    "place",
    "endpoint",
    "method",
    "uri",
    "purpose",
    "status",
    "successful",
    "class",
    "problem",
    "detail",
    "error",
    "due_unix_ns",
    "sent_unix_ns",
    "done_unix_ns",
    "took_ns",
    "dns_ns",
    "connect_ns",
    "tls_ns",
    "first_byte_ns",
    "bytes_sent",
    "bytes_received",
    "reused",
    "address",
    "nonce_age_ns",
    "retry_after_ns",
    "reconnects",
    "request_id",
    "traceparent",
];

impl<W: Write> Table<W> {
    /// A table with its header.
    ///
    /// # Errors
    /// Those of the file.
    pub fn new(rows: Rows, to: W) -> std::io::Result<Self> {
        let mut to = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(to);
        match rows {
            Rows::Chains => to.write_record(OF_BOTH.iter().chain(&OF_CHAINS))?,
            Rows::Requests => to.write_record(OF_BOTH.iter().chain(&OF_REQUESTS))?,
        }
        Ok(Self { rows, to })
    }

    /// Writes the rows of a record. Only chain results have any.
    ///
    /// # Errors
    /// Those of the file.
    pub fn write(&mut self, record: &Record) -> std::io::Result<()> {
        let Record::Chain { node, origin_unix_ns, result } = record else { return Ok(()) };
        match self.rows {
            Rows::Chains => self.chain(node, *origin_unix_ns, result),
            Rows::Requests => self.requests(node, *origin_unix_ns, result),
        }?;
        Ok(())
    }

    /// Completes the file.
    ///
    /// # Errors
    /// Those of the file.
    pub fn finish(mut self) -> std::io::Result<()> {
        self.to.flush()
    }

    fn chain(&mut self, node: &str, origin: u64, result: &ChainResult) -> csv::Result<()> {
        let at = |time: u64| origin.saturating_add(time).to_string();
        let fields = [
            result.successful.to_string(),
            result.abandoned.to_string(),
            result.issued.to_string(),
            class(result.class),
            number(result.status.into()),
            result.problem.to_string(),
            result.detail.to_string(),
            result.error.clone(),
            result.unverified.clone(),
            at(result.due),
            at(result.started),
            at(result.done),
            result.took.to_string(),
            result.keygen.to_string(),
            result.waited_asked.to_string(),
            result.waited_poll.to_string(),
            result.issuance.map_or_else(String::new, |time| time.to_string()),
            result.requests.len().to_string(),
            result.authorizations.len().to_string(),
            origin.to_string(),
            result.order.clone(),
            result.serial.clone(),
        ];
        self.to.write_record(of_both(node, result).iter().chain(&fields))
    }

    fn requests(&mut self, node: &str, origin: u64, result: &ChainResult) -> csv::Result<()> {
        let at = |time: u64| origin.saturating_add(time).to_string();
        let of_both = of_both(node, result);
        for (place, request) in result.requests.iter().enumerate() {
            let fields = [
                (place + 1).to_string(),
                request.endpoint.to_string(),
                request.method.to_string(),
                request.uri.to_string(),
                request.purpose.name().to_owned(),
                number(request.status.into()),
                request.successful.to_string(),
                class(request.class),
                request.problem.to_string(),
                request.detail.to_string(),
                request.error.clone(),
                at(request.due),
                at(request.sent),
                at(request.done),
                request.took.to_string(),
                number(request.phases.dns),
                number(request.phases.connect),
                number(request.phases.tls),
                number(request.phases.first_byte),
                request.bytes_sent.to_string(),
                request.bytes_received.to_string(),
                request.reused.to_string(),
                request.address.to_string(),
                number(request.nonce_age),
                request.retry_after.map_or_else(String::new, |time| time.to_string()),
                request.reconnects.to_string(),
                request.request_id.clone(),
                request.traceparent.clone(),
            ];
            self.to.write_record(of_both.iter().chain(&fields))?;
        }
        Ok(())
    }
}

fn of_both(node: &str, result: &ChainResult) -> [String; 6] {
    [
        node.to_owned(),
        result.seq.to_string(),
        result.worker.to_string(),
        result.chain.map_or_else(String::new, |chain| chain.name().to_owned()),
        result.scenario.clone(),
        result.profile.clone(),
    ]
}

fn class(class: Option<wec_record::FailureClass>) -> String {
    class.map_or_else(String::new, |class| <&str>::from(class).to_owned())
}

/// Empty without a value.
fn number(value: u64) -> String {
    if value == 0 { String::new() } else { value.to_string() }
}
