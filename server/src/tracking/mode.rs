//! [`TrackingMode`]: how one client wants to be told of changes. Pure.

use slotcore_engine::cmd::{Args, Reply};

use super::Holder;
use crate::clients::ClientId;

/// See the module's text. Exists while the client tracks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrackingMode {
    /// Of all changes of keys with one of the prefixes, whether the client read them or not.
    pub broadcast: bool,
    /// Only keys of commands behind a `CLIENT CACHING YES`.
    pub opt_in: bool,
    /// Not keys of commands behind a `CLIENT CACHING NO`.
    pub opt_out: bool,
    /// Not of what it changes itself.
    pub no_loop: bool,
    /// `CLIENT CACHING` was said, about the next command.
    pub caching_given: bool,
    /// Who is told instead, and where that one is.
    pub redirect: Option<(ClientId, Holder)>,
    /// That one is gone.
    pub is_broken: bool,
    /// In broadcast mode: at least one; the empty one is every key's.
    pub prefixes: Vec<Box<[u8]>>,
}

const NO_SUCH_CLIENT: &str = "ERR The client ID you want redirect to does not exist";

impl TrackingMode {
    /// Reads `CLIENT TRACKING on|off [REDIRECT id] [BCAST] [PREFIX p ...] [OPTIN] [OPTOUT] [NOLOOP]` of a client that
    /// tracks in mode `now`. `None`: it tracks no longer. `find`: where there is such a client.
    ///
    /// # Errors
    /// The error to answer.
    pub fn parse(
        args: &Args<'_>,
        now: Option<&Self>,
        find: impl Fn(ClientId) -> Option<Holder>,
    ) -> Result<Option<Self>, String> {
        let mut new = Self::default();
        let mut at = 3;
        while let Some(word) = args.try_get(at) {
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            match args.try_get(at + 1) {
                Some(id) if is("redirect") => {
                    if new.redirect.is_some() {
                        return Err("ERR A client can only redirect to a single other client".into());
                    }
                    let number = std::str::from_utf8(id).ok().and_then(|id| id.parse::<i64>().ok());
                    let number = number.ok_or("ERR value is not an integer or out of range")?;
                    let id = ClientId(u64::try_from(number).map_err(|_| NO_SUCH_CLIENT)?);
                    new.redirect = Some((id, find(id).ok_or(NO_SUCH_CLIENT)?));
                    at += 1;
                }
                Some(prefix) if is("prefix") => {
                    new.prefixes.push(prefix.into());
                    at += 1;
                }
                _ if is("bcast") => new.broadcast = true,
                _ if is("optin") => new.opt_in = true,
                _ if is("optout") => new.opt_out = true,
                _ if is("noloop") => new.no_loop = true,
                _ => return Err("ERR syntax error".into()),
            }
            at += 1;
        }
        match args.get(2) {
            word if word.eq_ignore_ascii_case(b"on") => new.joined(now).map(Some),
            word if word.eq_ignore_ascii_case(b"off") => Ok(None),
            _ => Err("ERR syntax error".into()),
        }
    }

    /// The client that a `CLIENT TRACKING` wants to redirect to, if it does.
    pub fn redirect_asked(args: &Args<'_>) -> Option<ClientId> {
        let at = (3..args.len()).find(|at| args.get(*at).eq_ignore_ascii_case(b"redirect"))?;
        let number = std::str::from_utf8(args.try_get(at + 1)?).ok()?;
        number.parse().ok().map(ClientId)
    }

    /// This mode, if it is sound and can follow `now`, whose prefixes stay.
    fn joined(mut self, now: Option<&Self>) -> Result<Self, String> {
        if !self.broadcast && !self.prefixes.is_empty() {
            return Err("ERR PREFIX option requires BCAST mode to be enabled".into());
        }
        if now.is_some_and(|now| now.broadcast != self.broadcast) {
            return Err(
                "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then \
                        re-enabling it with a different mode."
                    .into(),
            );
        }
        if self.broadcast && (self.opt_in || self.opt_out) {
            return Err("ERR OPTIN and OPTOUT are not compatible with BCAST".into());
        }
        if self.opt_in && self.opt_out {
            return Err("ERR You can't specify both OPTIN mode and OPTOUT mode".into());
        }
        if now.is_some_and(|now| self.opt_in && now.opt_out || self.opt_out && now.opt_in) {
            return Err(
                "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then \
                        re-enabling it with a different mode."
                    .into(),
            );
        }
        if self.broadcast {
            self.check_prefixes(now)?;
            if self.prefixes.is_empty() {
                self.prefixes.push(Box::default());
            }
            for prefix in now.iter().flat_map(|now| &now.prefixes) {
                if !self.prefixes.contains(prefix) {
                    self.prefixes.push(prefix.clone());
                }
            }
        }
        Ok(self)
    }

    fn check_prefixes(&self, now: Option<&Self>) -> Result<(), String> {
        let overlap = |a: &[u8], b: &[u8]| a.starts_with(b) || b.starts_with(a);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for (n, prefix) in self.prefixes.iter().enumerate() {
            let old = now.iter().flat_map(|now| &now.prefixes);
            let others = old.map(|other| (other, "an existing prefix"));
            let new = self.prefixes[n + 1..]
                .iter()
                .map(|other| (other, "another provided prefix"));
            for (other, what) in others.chain(new) {
                if overlap(prefix, other) {
                    return Err(format!(
                        "ERR Prefix '{}' overlaps with {what} '{}'. Prefixes for a single client must not overlap.",
                        text(prefix),
                        text(other)
                    ));
                }
            }
        }
        Ok(())
    }

    /// `CLIENT CACHING yes|no`, of a client in mode `mode`.
    ///
    /// # Errors
    /// The error to answer.
    pub fn caching(mode: Option<&mut Self>, word: &[u8]) -> Result<(), &'static str> {
        let Some(mode) = mode else {
            return Err(
                "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT \
                        mode enabled",
            );
        };
        match word {
            _ if word.eq_ignore_ascii_case(b"yes") && !mode.opt_in => {
                Err("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
            }
            _ if word.eq_ignore_ascii_case(b"no") && !mode.opt_out => {
                Err("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
            }
            _ if word.eq_ignore_ascii_case(b"yes") || word.eq_ignore_ascii_case(b"no") => {
                mode.caching_given = true;
                Ok(())
            }
            _ => Err("ERR syntax error"),
        }
    }

    /// Whether the keys of the command that begins now are to be noted, should it read. What `CLIENT CACHING` said is
    /// about this one command.
    pub fn notes_next(&mut self) -> bool {
        let given = std::mem::take(&mut self.caching_given);
        match given {
            true => !self.broadcast && !self.opt_out,
            false => !self.broadcast && !self.opt_in,
        }
    }

    /// `CLIENT TRACKINGINFO`, of a client that tracks in mode `mode`, if it does.
    pub fn describe(mode: Option<&Self>, out: &mut dyn Reply) {
        let mut flags = vec![if mode.is_some() { "on" } else { "off" }];
        if let Some(mode) = mode {
            let also = [
                ("bcast", mode.broadcast),
                ("optin", mode.opt_in),
                ("caching-yes", mode.opt_in && mode.caching_given),
                ("optout", mode.opt_out),
                ("caching-no", mode.opt_out && mode.caching_given),
                ("noloop", mode.no_loop),
                ("broken_redirect", mode.is_broken),
            ];
            flags.extend(also.into_iter().filter(|(_, set)| *set).map(|(name, _)| name));
        }
        out.map(3);
        out.bulk(b"flags");
        out.set(flags.len());
        flags.iter().for_each(|flag| out.bulk(flag.as_bytes()));
        out.bulk(b"redirect");
        out.int(Self::redirection(mode));
        out.bulk(b"prefixes");
        let prefixes = mode.map_or(&[][..], |mode| &mode.prefixes);
        out.array(prefixes.len());
        prefixes.iter().for_each(|prefix| out.bulk(prefix));
    }

    /// `CLIENT GETREDIR`: -1 when it does not track, 0 when it is told itself.
    pub fn redirection(mode: Option<&Self>) -> i64 {
        let redirect = |mode: &Self| {
            mode.redirect
                .map_or(0, |(id, _)| i64::try_from(id.0).unwrap_or(i64::MAX))
        };
        mode.map_or(-1, redirect)
    }
}

#[cfg(test)]
mod tests {
    use slotcore_netio::ConnId;

    use super::*;

    fn parse(line: &str, now: Option<&TrackingMode>) -> Result<Option<TrackingMode>, String> {
        let line = format!("client tracking {line}");
        let mut spans = Vec::new();
        let mut at = 0;
        for word in line.split(' ') {
            spans.push((at, word.len() as u32));
            at += word.len() as u32 + 1;
        }
        let args = Args::new(line.as_bytes(), &spans);
        TrackingMode::parse(&args, now, |id| (id.0 == 7).then(|| (0, ConnId::from_parts((1, 1)))))
    }

    fn on(line: &str) -> TrackingMode {
        parse(line, None).unwrap().unwrap()
    }

    #[test]
    fn modes_that_contradict_themselves_or_the_one_in_force_are_refused() {
        let (plain, all, some) = (on("on"), on("on bcast"), on("on bcast prefix ab prefix c"));
        let (opt_in, opt_out) = (on("on optin"), on("on optout"));
        for (line, now, text) in [
            ("maybe", None, "syntax error"),
            ("on prefix", None, "syntax error"),
            ("on redirect x", None, "not an integer"),
            ("on redirect 8", None, "does not exist"),
            ("on redirect -1", None, "does not exist"),
            ("on redirect 7 redirect 7", None, "single other client"),
            ("on prefix a", None, "requires BCAST"),
            ("on bcast", Some(&plain), "can't switch BCAST"),
            ("on", Some(&all), "can't switch BCAST"),
            ("on bcast optin", None, "not compatible with BCAST"),
            ("on optin optout", None, "both OPTIN mode and OPTOUT"),
            ("on optin", Some(&opt_out), "can't switch OPTIN/OPTOUT"),
            ("on optout", Some(&opt_in), "can't switch OPTIN/OPTOUT"),
            (
                "on bcast prefix abc",
                Some(&some),
                "'abc' overlaps with an existing prefix 'ab'",
            ),
            (
                "on bcast prefix a prefix ab",
                None,
                "'a' overlaps with another provided prefix 'ab'",
            ),
        ] {
            let error = parse(line, now).unwrap_err();
            assert!(error.starts_with("ERR ") && error.contains(text), "{line}: {error}");
        }
    }

    #[test]
    fn a_mode_follows_another_one_whose_prefixes_stay() {
        let some = on("on bcast prefix b");
        let more = parse("on bcast prefix a noloop", Some(&some)).unwrap().unwrap();
        assert_eq!(
            more.prefixes,
            [b"a".as_slice().into(), b"b".as_slice().into()] as [Box<[u8]>; 2]
        );
        assert!(more.no_loop);
        assert_eq!(on("on bcast").prefixes, [Box::from(b"".as_slice())]);
        assert_eq!(parse("off", Some(&more)), Ok(None));
        assert_eq!(TrackingMode::redirection(None), -1);
        assert_eq!(TrackingMode::redirection(Some(&more)), 0);
        assert_eq!(TrackingMode::redirection(Some(&on("on redirect 7"))), 7);
    }

    #[test]
    fn what_caching_says_is_about_one_command() {
        let (mut plain, mut all, mut opt_in, mut opt_out) = (on("on"), on("on bcast"), on("on optin"), on("on optout"));
        assert!(plain.notes_next() && !all.notes_next());
        assert!(!opt_in.notes_next() && opt_out.notes_next());
        TrackingMode::caching(Some(&mut opt_in), b"YES").unwrap();
        TrackingMode::caching(Some(&mut opt_out), b"no").unwrap();
        assert!(opt_in.notes_next() && !opt_out.notes_next());
        assert!(!opt_in.notes_next() && opt_out.notes_next());
        assert!(TrackingMode::caching(None, b"yes").is_err());
        for (mut mode, word) in [
            (plain, b"yes".as_slice()),
            (opt_in, b"no"),
            (opt_out.clone(), b"yes"),
            (opt_out, b"maybe"),
        ] {
            assert!(TrackingMode::caching(Some(&mut mode), word).is_err());
        }
    }
}
