//! The files of `--peer-tls-cert`, `--peer-tls-key` and `--peer-tls-ca`, read and checked at the start.

use std::path::Path;

use slotcore_netio::peer::{PeerTls, TlsPart};
use slotcore_rt::config_file;

use super::{ConfigError, RawOptions, given};

const CERT: &str = "peer-tls-cert";
const KEY: &str = "peer-tls-key";
const CA: &str = "peer-tls-ca";

/// What the three options name. `None`: none of them is given.
pub(super) fn read(raw: &RawOptions) -> Result<Option<PeerTls>, ConfigError> {
    let options = [
        (CERT, given(raw.peer_tls_cert.clone())),
        (KEY, given(raw.peer_tls_key.clone())),
        (CA, given(raw.peer_tls_ca.clone())),
    ];
    let (cert, key, ca) = match options {
        [(_, None), (_, None), (_, None)] => return Ok(None),
        [(_, Some(cert)), (_, Some(key)), (_, Some(ca))] => (cert, key, ca),
        some => {
            let missing = some
                .iter()
                .find(|(_, file)| file.is_none())
                .map_or("", |(name, _)| name);
            let given = some.into_iter().find_map(|(name, file)| Some((name, file?)));
            let (name, value) = given.expect("not all of them are missing");
            return Err(refused(
                name,
                &value,
                format!("certificate, key and authorities are given together or not at all: --{missing} is missing"),
            ));
        }
    };
    if config_file::others_may_read(Path::new(&key)).map_err(|error| refused(KEY, &key, error.to_string()))? {
        return Err(refused(KEY, &key, "others may read this file: chmod 600 it".into()));
    }
    let text = |name, file: &str| {
        let text = config_file::read(Path::new(file));
        text.map_err(|error| refused(name, file, error.to_string()))
    };
    let texts = (text(CERT, &cert)?, text(KEY, &key)?, text(CA, &ca)?);
    let tls = PeerTls::from_pem(texts.0.as_bytes(), texts.1.as_bytes(), texts.2.as_bytes());
    let tls = tls.map_err(|error| match error.part {
        TlsPart::Certificate => refused(CERT, &cert, error.why),
        TlsPart::Key => refused(KEY, &key, error.why),
        TlsPart::Authorities => refused(CA, &ca, error.why),
    })?;
    Ok(Some(tls))
}

fn refused(name: &'static str, file: &str, message: String) -> ConfigError {
    ConfigError::Option {
        name,
        value: file.to_owned(),
        message,
    }
}
