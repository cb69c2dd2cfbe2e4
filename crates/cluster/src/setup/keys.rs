//! Keys of users: a seed that its owner keeps, and a public key that the brokers are told.

use nkeys::{KeyPair, KeyPairType};

use super::error::SetupError;

/// A new key.
pub(super) struct Key {
    /// What the brokers know.
    pub(super) public: String,
    /// What its owner proves itself with.
    pub(super) seed: String,
}

/// # Errors
/// [`SetupError::NoKey`]
pub(super) fn new() -> Result<Key, SetupError> {
    let pair = KeyPair::new_user();
    let seed = pair.seed().map_err(SetupError::NoKey)?;
    Ok(Key { public: pair.public_key(), seed: seed + "\n" })
}

/// Checks a public key that was read.
///
/// # Errors
/// [`SetupError::Key`]
pub(super) fn check(key: &str, owner: impl Fn() -> String) -> Result<(), SetupError> {
    let user = |pair: &KeyPair| {
        matches!(pair.key_pair_type(), KeyPairType::User) && pair.public_key() == key
    };
    if KeyPair::from_public_key(key).as_ref().is_ok_and(user) {
        return Ok(());
    }
    Err(SetupError::Key { key: key.into(), owner: owner() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_keys_of_users_are_taken() {
        let Key { public, seed } = new().unwrap();
        let check = |key: &str| check(key, || "node n1".into());
        assert!(check(&public).is_ok());
        let server = KeyPair::new_server().public_key();
        for key in ["", "U", "U\"", "ä", seed.trim(), &server, &public[1..], &format!("{public}A")]
        {
            assert!(check(key).is_err(), "{key}");
        }
        let error = check("U").unwrap_err().to_string();
        assert!(error.starts_with("key \"U\" of node n1: allowed is"), "{error}");
    }
}
