//! The keys of gossip encryption and what they do to bytes: AES-GCM in memberlist's framing. The first key seals, every key
//! opens, so that keys can be changed one member at a time. Changing them at run time comes later; the format is here.
//!
//! Nonces are drawn from the pool's generator: with a key in use it must be a cryptographic one.

use std::fmt;

use aes_gcm::aead::{AeadInPlace, KeyInit};
use aes_gcm::aes::Aes192;
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm, Nonce, Tag};

use crate::random::Random;
use crate::wire::WireError;

type Aes192Gcm = AesGcm<Aes192, aes_gcm::aead::consts::U12>;

/// Bytes of the version that stands before the nonce.
const VERSION_BYTES: usize = 1;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// The framing we write: no padding. Version 0 pads to AES blocks; we only read it.
const VERSION: u8 = 1;
const VERSION_PADDED: u8 = 0;
const BLOCK_BYTES: usize = 16;
/// How much longer a sealed message is.
pub(crate) const OVERHEAD: usize = VERSION_BYTES + NONCE_BYTES + TAG_BYTES;
/// Each packet that does not open costs one try a key: more would let strangers buy much work with one packet.
pub const KEYS_MAX: usize = 8;

/// Why keys were refused. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// AES knows three sizes.
    #[error("gossip key {index} has {bytes} bytes, not 16, 24 or 32")]
    Size {
        /// Which key, from 0.
        index: usize,
        /// Its length.
        bytes: usize,
    },
    /// No key at all; encryption is off without a keyring, not with an empty one.
    #[error("keyring is empty")]
    Empty,
    /// More keys than a change of keys needs.
    #[error("keyring has {count} keys, at most {KEYS_MAX} are allowed")]
    TooMany {
        /// How many were given.
        count: usize,
    },
}

#[derive(Clone)]
enum Key {
    Aes128(Box<Aes128Gcm>),
    Aes192(Box<Aes192Gcm>),
    Aes256(Box<Aes256Gcm>),
}

/// One or more keys; the first seals.
#[derive(Clone)]
pub struct Keyring {
    keys: Vec<Key>,
}

impl fmt::Debug for Keyring {
    /// Says how many keys there are and nothing of them.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Keyring({} keys)", self.keys.len())
    }
}

impl Keyring {
    /// Takes keys of 16, 24 or 32 bytes, the primary first.
    pub fn new(keys: &[Vec<u8>]) -> Result<Self, KeyError> {
        if keys.is_empty() {
            return Err(KeyError::Empty);
        }
        if keys.len() > KEYS_MAX {
            return Err(KeyError::TooMany { count: keys.len() });
        }
        let keys = keys.iter().enumerate().map(|(index, key)| {
            let size = |_| KeyError::Size {
                index,
                bytes: key.len(),
            };
            match key.len() {
                24 => Aes192Gcm::new_from_slice(key)
                    .map(|key| Key::Aes192(Box::new(key)))
                    .map_err(size),
                32 => Aes256Gcm::new_from_slice(key)
                    .map(|key| Key::Aes256(Box::new(key)))
                    .map_err(size),
                _ => Aes128Gcm::new_from_slice(key)
                    .map(|key| Key::Aes128(Box::new(key)))
                    .map_err(size),
            }
        });
        Ok(Self {
            keys: keys.collect::<Result<_, _>>()?,
        })
    }

    /// Seals `plain`; `authenticated` is covered by the tag but not part of the result.
    pub(crate) fn seal(
        &self,
        plain: &[u8],
        authenticated: &[u8],
        random: &mut dyn Random,
    ) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        random.fill(&mut nonce);
        let mut sealed = Vec::with_capacity(plain.len() + OVERHEAD);
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let body = &mut sealed[VERSION_BYTES + NONCE_BYTES..];
        let tag = self.keys[0].seal(&nonce, authenticated, body);
        sealed.extend_from_slice(&tag);
        sealed
    }

    /// Opens what any of the keys sealed, in either framing.
    pub(crate) fn open(&self, sealed: &[u8], authenticated: &[u8]) -> Result<Vec<u8>, WireError> {
        let body_and_tag = sealed
            .get(VERSION_BYTES + NONCE_BYTES..)
            .filter(|rest| rest.len() >= TAG_BYTES)
            .ok_or(WireError::Decrypt)?;
        let version = sealed[0];
        if version > VERSION {
            return Err(WireError::Decrypt);
        }
        let nonce = &sealed[VERSION_BYTES..VERSION_BYTES + NONCE_BYTES];
        let (body, tag) = body_and_tag.split_at(body_and_tag.len() - TAG_BYTES);
        let mut plain = self
            .keys
            .iter()
            .find_map(|key| key.open(nonce, authenticated, body, tag))
            .ok_or(WireError::Decrypt)?;
        if version == VERSION_PADDED {
            let padding = usize::from(*plain.last().ok_or(WireError::Decrypt)?);
            if !(1..=BLOCK_BYTES).contains(&padding) || padding > plain.len() {
                return Err(WireError::Decrypt);
            }
            plain.truncate(plain.len() - padding);
        }
        Ok(plain)
    }
}

impl Key {
    fn seal(&self, nonce: &[u8], authenticated: &[u8], body: &mut [u8]) -> Tag {
        let nonce = Nonce::from_slice(nonce);
        let sealed = match self {
            Self::Aes128(key) => key.encrypt_in_place_detached(nonce, authenticated, body),
            Self::Aes192(key) => key.encrypt_in_place_detached(nonce, authenticated, body),
            Self::Aes256(key) => key.encrypt_in_place_detached(nonce, authenticated, body),
        };
        sealed.expect("a message must be shorter than AES-GCM's 64 GiB")
    }

    fn open(&self, nonce: &[u8], authenticated: &[u8], body: &[u8], tag: &[u8]) -> Option<Vec<u8>> {
        let (nonce, tag) = (Nonce::from_slice(nonce), Tag::from_slice(tag));
        let mut plain = body.to_vec();
        let opened = match self {
            Self::Aes128(key) => {
                key.decrypt_in_place_detached(nonce, authenticated, &mut plain, tag)
            }
            Self::Aes192(key) => {
                key.decrypt_in_place_detached(nonce, authenticated, &mut plain, tag)
            }
            Self::Aes256(key) => {
                key.decrypt_in_place_detached(nonce, authenticated, &mut plain, tag)
            }
        };
        opened.ok().map(|()| plain)
    }
}
