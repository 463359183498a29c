//! Is a token anywhere where it must not be?

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cfshare_simulator::random_id;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// A token that looks different when it is encoded for a URL.
pub fn token() -> String {
    format!("canary/{}+=", random_id())
}

/// In which form the text holds the token.
pub fn found(token: &str, text: &str) -> Option<&'static str> {
    // Without padding and its last letters, which depend on what follows.
    let encoded = STANDARD.encode(token);
    let encoded = &encoded[..encoded.len().saturating_sub(4)];
    let escaped = utf8_percent_encode(token, NON_ALPHANUMERIC).to_string();
    let core = &token[7..39];
    if text.contains(core) {
        Some("as it is")
    } else if text.contains(encoded) {
        Some("in base64")
    } else if text.contains(&escaped) {
        Some("encoded for a URL")
    } else {
        None
    }
}
