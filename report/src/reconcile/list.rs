//! The CA's own list of certificates.

use std::collections::HashMap;
use std::io::{self, BufRead, Cursor, Read as _};

use wec_text::quoted;

/// Names of the column with the serial numbers.
const SERIAL_COLUMNS: [&str; 5] =
    ["serial", "serial_number", "serialnumber", "certificate_serial", "cert_serial"];
/// Names of the column with the orders.
const ORDER_COLUMNS: [&str; 4] = ["order", "order_url", "order_id", "orderid"];

/// How the CA's list is written.
#[derive(Clone, Debug, Default)]
pub struct ListForm {
    /// Serial numbers are decimal instead of hex.
    pub decimal: bool,
    /// The column with the serial numbers; none for the usual names.
    pub serial_column: Option<String>,
    /// The column with the orders; none for the usual names.
    pub order_column: Option<String>,
}

/// Why the CA's list cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The file.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A line is not CSV.
    #[error("{0}")]
    Csv(#[from] csv::Error),
    /// The head does not name the column.
    #[error("its first line names no column {wanted}: there are {there}; name the column with --{flag}")]
    NoColumn {
        /// What is wanted.
        wanted: String,
        /// The columns.
        there: String,
        /// The flag that names it.
        flag: &'static str,
    },
    /// A value is no serial number.
    #[error("line {line}: {value} is no serial number in {base}")]
    NotASerial {
        /// The line, from 1.
        line: u64,
        /// The value.
        value: String,
        /// What it should be.
        base: &'static str,
    },
    /// A value begins with a quote and does not end with one, or the other way round.
    #[error("line {line}: a quote is not closed")]
    OpenQuote {
        /// The line, from 1.
        line: u64,
    },
    /// There is not even a line that names the columns, as in the export of a CA without certificates.
    #[error(
        "it is empty: the list of a CA without certificates has a first line that names the column serial"
    )]
    Empty,
}

/// The longest line of a list. Lines are in memory, and a file of something else may be one line.
const LONGEST_LINE: usize = 64 << 10;

/// Refuses a line that is too long.
struct ShortLines<R> {
    source: R,
    /// From 1.
    line: u64,
    /// Bytes of it so far.
    length: usize,
}

impl<R: io::Read> io::Read for ShortLines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        for part in buffer[..read].split_inclusive(|byte| *byte == b'\n') {
            self.length += part.len();
            if self.length > LONGEST_LINE {
                let why =
                    format!("line {} is longer than 64 KiB: it is no list of serial numbers", self.line);
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            if part.ends_with(b"\n") {
                self.line += 1;
                self.length = 0;
            }
        }
        Ok(read)
    }
}

/// Refuses the end of a list within a quoted field: all after the quote would be one value.
struct ClosedQuotes<R> {
    source: R,
    delimiter: u8,
    at: InLine,
    /// From 1.
    line: u64,
    /// The line of the last opening quote.
    opened: u64,
}

/// A place in a line of CSV (RFC 4180).
#[derive(Clone, Copy, PartialEq, Eq)]
enum InLine {
    /// Where a quote opens a field.
    Begin,
    Field,
    Quoted,
    /// After a quote in a quoted field: it closes the field, unless another quote follows.
    Quote,
}

impl<R: io::Read> io::Read for ClosedQuotes<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        if read == 0 && !buffer.is_empty() && self.at == InLine::Quoted {
            let why = format!("line {}: a quote is not closed", self.opened);
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        for byte in &buffer[..read] {
            self.at = match (self.at, byte) {
                (InLine::Begin, b'"') => {
                    self.opened = self.line;
                    InLine::Quoted
                }
                (InLine::Quoted, b'"') => InLine::Quote,
                (InLine::Quoted, _) | (InLine::Quote, b'"') => InLine::Quoted,
                (_, b'\n' | b'\r') => InLine::Begin,
                (_, byte) if *byte == self.delimiter => InLine::Begin,
                _ => InLine::Field,
            };
            self.line += u64::from(*byte == b'\n');
        }
        Ok(read)
    }
}

/// A serial number without leading zeros.
pub(super) type Serial = Box<[u8]>;

/// The CA's own list.
#[derive(Debug, Default)]
pub struct CaList {
    pub(super) serials: HashMap<Serial, Listed>,
    /// Serial numbers that are there more than once.
    pub(super) repeated: u64,
    /// Read as hex, it has only decimal digits.
    pub(super) maybe_decimal: bool,
}

#[derive(Debug, Default)]
pub(super) struct Listed {
    /// The order, if the list names it.
    pub(super) order: Box<str>,
    /// A log has it.
    pub(super) seen: bool,
    /// With this order.
    pub(super) order_here: super::OrderHash,
    /// A log revokes it.
    pub(super) revoked: bool,
}

impl CaList {
    /// Reads CSV whose first line names a column of serial numbers, or one serial number a line. Empty lines and those
    /// that begin with `#` are skipped.
    ///
    /// # Errors
    /// When the list cannot be read, has no line, or has anything else. It may have no serial numbers below its head.
    pub fn read(source: impl io::Read, form: &ListForm) -> Result<Self, ListError> {
        let mut source = io::BufReader::new(ShortLines { source, line: 1, length: 0 });
        let mut before = 0;
        let mut first = String::new();
        while first.trim().is_empty() || first.starts_with('#') {
            first.clear();
            if source.read_line(&mut first)? == 0 {
                return Err(ListError::Empty);
            }
            before += 1;
        }
        let first = first.trim_start_matches('\u{feff}').to_owned();
        let mut list = Self { maybe_decimal: !form.decimal, ..Self::default() };
        if form.serial_column.is_none() && parse(&first, form.decimal).is_some() {
            let lines = Cursor::new(first).chain(source);
            for (line, number) in io::BufReader::new(lines).lines().zip(before..) {
                let line = line?;
                let text = line.trim();
                if text.is_empty() || line.starts_with('#') {
                    continue;
                }
                if text.starts_with('"') != text.ends_with('"') || text == "\"" {
                    return Err(ListError::OpenQuote { line: number });
                }
                list.add(text, "", number, form)?;
            }
        } else {
            let delimiter = *[b',', b';', b'\t']
                .iter()
                .max_by_key(|delimiter| first.bytes().filter(|byte| byte == *delimiter).count())
                .unwrap_or(&b',');
            list.read_csv(Cursor::new(first).chain(source), delimiter, before, form)?;
        }
        list.maybe_decimal &= !list.serials.is_empty();
        Ok(list)
    }

    fn read_csv(
        &mut self,
        source: impl io::Read,
        delimiter: u8,
        before: u64,
        form: &ListForm,
    ) -> Result<(), ListError> {
        let source = ClosedQuotes { source, delimiter, at: InLine::Begin, line: before, opened: 0 };
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .flexible(true)
            .comment(Some(b'#'))
            .trim(csv::Trim::All)
            .from_reader(source);
        let head = reader.headers()?.clone();
        let column = |named: &Option<String>, usual: &[&str]| {
            head.iter().position(|name| match named {
                Some(named) => name == named,
                None => usual.contains(&&*name.to_ascii_lowercase().replace([' ', '-'], "_")),
            })
        };
        let missing = |wanted: &Option<String>, flag| ListError::NoColumn {
            wanted: wanted.as_deref().map_or_else(|| "serial".to_owned(), quoted),
            there: head.iter().map(quoted).collect::<Vec<_>>().join(", "),
            flag,
        };
        let serial = column(&form.serial_column, &SERIAL_COLUMNS)
            .ok_or_else(|| missing(&form.serial_column, "serial-column"))?;
        let order = column(&form.order_column, &ORDER_COLUMNS);
        if order.is_none() && form.order_column.is_some() {
            return Err(missing(&form.order_column, "order-column"));
        }
        let mut row = csv::StringRecord::new();
        while reader.read_record(&mut row)? {
            let line = row.position().map_or(0, csv::Position::line) + before - 1;
            let order = order.and_then(|order| row.get(order)).unwrap_or_default();
            self.add(row.get(serial).unwrap_or_default(), order, line, form)?;
        }
        Ok(())
    }

    fn add(&mut self, text: &str, order: &str, line: u64, form: &ListForm) -> Result<(), ListError> {
        let serial = parse(text, form.decimal).ok_or_else(|| ListError::NotASerial {
            line,
            value: quoted(text.trim()),
            base: if form.decimal { "decimal" } else { "hex (--decimal for decimal)" },
        })?;
        self.maybe_decimal &= text.trim().trim_matches('"').bytes().all(|byte| byte.is_ascii_digit());
        let order = path_of(order).into();
        if self.serials.insert(serial, Listed { order, ..Listed::default() }).is_some() {
            self.repeated += 1;
        }
        Ok(())
    }
}

/// A serial number: hex with or without colons, spaces, `0x` and leading zeros, or decimal.
pub(super) fn parse(text: &str, decimal: bool) -> Option<Serial> {
    let text = text.trim().trim_matches('"');
    if decimal {
        return from_decimal(text);
    }
    let text = text.strip_prefix("serial=").unwrap_or(text);
    let text = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|c| !matches!(c, ':' | ' '))
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits.filter(|digits| !digits.is_empty())?;
    let odd = digits.len() % 2;
    let first = digits.iter().take(odd).copied();
    Some(trimmed(first.chain(digits[odd..].chunks(2).map(|pair| pair[0] << 4 | pair[1])).collect()))
}

fn from_decimal(text: &str) -> Option<Serial> {
    // Least significant byte first.
    let mut bytes = vec![0_u8];
    if text.is_empty() || text.len() > 100 {
        return None;
    }
    for digit in text.chars() {
        let mut carry = digit.to_digit(10)?;
        for byte in &mut bytes {
            let value = u32::from(*byte) * 10 + carry;
            *byte = (value & 0xff) as u8;
            carry = value >> 8;
        }
        if carry > 0 {
            bytes.push(carry as u8);
        }
    }
    bytes.reverse();
    Some(trimmed(bytes))
}

/// Without leading zeros.
fn trimmed(bytes: Vec<u8>) -> Serial {
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len().saturating_sub(1));
    bytes[first..].into()
}

/// The path of a URL; another text stays.
fn path_of(order: &str) -> &str {
    let authority = order.find("://").map_or(0, |scheme| scheme + 3);
    if authority == 0 {
        return order;
    }
    order[authority..].find('/').map_or(order, |path| &order[authority + path..])
}

/// The last part of a path, which a CA's list may have alone.
pub(super) fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
