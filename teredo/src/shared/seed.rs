//! Independent keys from the one seed a role is given.

use hmac::{Hmac, Mac};
use sha2::Sha256;

pub(crate) type HmacSha256 = Hmac<Sha256>;

/// A keyed HMAC-SHA256. The key fills half a block; padding the rest with zeros is what HMAC does.
pub(crate) fn keyed(key: [u8; 32]) -> HmacSha256 {
    let mut block = [0; 64];
    block[..32].copy_from_slice(&key);
    <HmacSha256 as Mac>::new(&block.into())
}

/// An independent key for one purpose.
pub(crate) fn derive(seed: [u8; 32], purpose: &[u8]) -> [u8; 32] {
    keyed(seed)
        .chain_update(purpose)
        .finalize()
        .into_bytes()
        .into()
}
