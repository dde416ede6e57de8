//! What can be wrong with the framing of a request, as a closed set.

use http::StatusCode;

/// Why a client's bytes are refused. The words of [`Violation::as_str`] are stable: they are labels and log fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.as_str())]
pub(crate) enum Violation {
    /// A line ends without a carriage return.
    BareLineFeed,
    /// A carriage return that no line feed follows.
    BareCarriageReturn,
    /// NUL, DEL or another control character.
    ControlCharacter,
    /// A header line that begins with white space.
    FoldedHeader,
    /// A header name that is no token, white space before the colon included, or a header line without a colon.
    HeaderName,
    /// A header line that begins with its colon.
    EmptyHeaderName,
    /// The first line is not `method SP target SP HTTP/1.x`.
    RequestLine,
    /// A version of HTTP that this listener does not speak, the preface of HTTP/2 included.
    Version,
    /// HTTP/1.1 without `Host`.
    MissingHost,
    /// More than one `Host`.
    RepeatedHost,
    /// A `Content-Length` that is not one decimal number.
    ContentLength,
    /// More than one `Content-Length`, even of equal ones.
    RepeatedContentLength,
    /// Both `Content-Length` and `Transfer-Encoding`.
    LengthAndEncoding,
    /// A `Transfer-Encoding` other than exactly `chunked`, or more than one.
    TransferEncoding,
    /// `Transfer-Encoding` in HTTP/1.0, which does not know it.
    EncodingInHttp10,
    /// A chunk's size that is not 1 to 16 plain hexadecimal digits.
    ChunkSize,
    /// Chunk extensions over their limit.
    ChunkExtension,
    /// A chunk that is longer than its size says.
    ChunkEnd,
    /// A trailer that would change the framing.
    Trailer,
    /// More than one empty line before a request.
    EmptyLines,
    /// The request's target alone is over the limit.
    TargetTooLong,
    /// The head, or the trailers, are over their limit in bytes.
    HeadTooLarge,
    /// More header fields than the limit.
    TooManyFields,
}

impl Violation {
    /// The word for it in logs, metrics and `Proxy-Status`.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::BareLineFeed => "bare-line-feed",
            Self::BareCarriageReturn => "bare-carriage-return",
            Self::ControlCharacter => "control-character",
            Self::FoldedHeader => "folded-header",
            Self::HeaderName => "header-name",
            Self::EmptyHeaderName => "empty-header-name",
            Self::RequestLine => "request-line",
            Self::Version => "http-version",
            Self::MissingHost => "missing-host",
            Self::RepeatedHost => "repeated-host",
            Self::ContentLength => "content-length",
            Self::RepeatedContentLength => "repeated-content-length",
            Self::LengthAndEncoding => "content-length-and-transfer-encoding",
            Self::TransferEncoding => "transfer-encoding",
            Self::EncodingInHttp10 => "transfer-encoding-in-http-1.0",
            Self::ChunkSize => "chunk-size",
            Self::ChunkExtension => "chunk-extension",
            Self::ChunkEnd => "chunk-end",
            Self::Trailer => "trailer",
            Self::EmptyLines => "empty-lines",
            Self::TargetTooLong => "target-too-long",
            Self::HeadTooLarge => "head-too-large",
            Self::TooManyFields => "too-many-header-fields",
        }
    }

    /// The status of the answer to it.
    #[must_use]
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge | Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// What a byte that ends a line or is no text says, where it may not stand; `otherwise` for a byte that is text.
#[cold]
pub(super) fn misplaced(byte: u8, otherwise: Violation) -> Violation {
    match byte {
        b'\n' => Violation::BareLineFeed,
        b'\r' | b'\t' => otherwise,
        0..0x20 | 0x7f => Violation::ControlCharacter,
        _ => otherwise,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All of them.
    const ALL: [Violation; 23] = [
        Violation::BareLineFeed,
        Violation::BareCarriageReturn,
        Violation::ControlCharacter,
        Violation::FoldedHeader,
        Violation::HeaderName,
        Violation::EmptyHeaderName,
        Violation::RequestLine,
        Violation::Version,
        Violation::MissingHost,
        Violation::RepeatedHost,
        Violation::ContentLength,
        Violation::RepeatedContentLength,
        Violation::LengthAndEncoding,
        Violation::TransferEncoding,
        Violation::EncodingInHttp10,
        Violation::ChunkSize,
        Violation::ChunkExtension,
        Violation::ChunkEnd,
        Violation::Trailer,
        Violation::EmptyLines,
        Violation::TargetTooLong,
        Violation::HeadTooLarge,
        Violation::TooManyFields,
    ];

    #[test]
    fn no_two_violations_share_a_word() {
        let mut words: Vec<_> = ALL.iter().map(|violation| violation.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), ALL.len());
    }
}
