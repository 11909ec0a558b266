//! Listings: page after page, in today's form or as the lines of older servers.

use std::collections::HashSet;

use reqwest::Method;
use serde::Deserialize;

use super::error::ClientError;
use super::transport::Call;
use super::{Client, Kind, RESPONSE_BYTES_MAX, path};
use crate::wire::key::KeyList;
use crate::wire::{identity, key, policy};

/// Names that a listing may have in all.
const NAMES_MAX: usize = 2_000_000;
/// Bytes of a listing in the form of older servers, which do not page.
const LINES_BYTES_MAX: usize = 64 << 20;

type ParsePage = fn(&[u8]) -> Result<KeyList, serde_json::Error>;

impl Client {
    /// The names of all keys that start with `prefix`, or that match it if it ends in `*`.
    pub async fn list_keys(&self, prefix: &str) -> Result<Vec<String>, ClientError> {
        self.list("/v1/key/list", prefix, key::parse_key_list).await
    }

    /// One page of [`Self::list_keys`]; its `continue_at` is the pattern of the next one.
    pub async fn list_keys_page(&self, pattern: &str) -> Result<KeyList, ClientError> {
        self.page("/v1/key/list", pattern, key::parse_key_list)
            .await
    }

    /// The names of all policies, as [`Self::list_keys`].
    pub async fn list_policies(&self, prefix: &str) -> Result<Vec<String>, ClientError> {
        let parse: ParsePage = |body| {
            let page = policy::parse_policy_list(body)?;
            Ok(KeyList {
                names: page.names,
                continue_at: page.continue_at,
            })
        };
        self.list("/v1/policy/list", prefix, parse).await
    }

    /// All identities, as [`Self::list_keys`].
    pub async fn list_identities(&self, prefix: &str) -> Result<Vec<String>, ClientError> {
        let parse: ParsePage = |body| {
            let page = identity::parse_identity_list(body)?;
            Ok(KeyList {
                names: page.identities,
                continue_at: page.continue_at,
            })
        };
        self.list("/v1/identity/list", prefix, parse).await
    }

    async fn list(
        &self,
        route: &str,
        prefix: &str,
        parse: ParsePage,
    ) -> Result<Vec<String>, ClientError> {
        let mut names = Vec::new();
        let mut pattern = prefix.to_owned();
        let mut seen = HashSet::new();
        loop {
            let page = self.page(route, &pattern, parse).await?;
            let is_last = page.names.is_empty() || page.continue_at.is_empty();
            names.extend(page.names);
            if is_last {
                return Ok(names);
            }
            if names.len() > NAMES_MAX || !seen.insert(page.continue_at.clone()) {
                return Err(ClientError::EndlessListing(page.continue_at));
            }
            pattern = page.continue_at;
        }
    }

    async fn page(
        &self,
        route: &str,
        pattern: &str,
        parse: ParsePage,
    ) -> Result<KeyList, ClientError> {
        // Without a pattern the official client asks without the slash, and is redirected.
        let path = match pattern {
            "" => route.to_owned(),
            _ => path(&format!("{route}/"), Kind::Pattern, pattern)?,
        };
        let call = Call::new(Method::GET, path);
        let mut answer = self.send(&call).await?.into_success().await?;
        if answer.content_type() == "application/x-ndjson" {
            return parse_lines(&answer.read(LINES_BYTES_MAX).await?);
        }
        let body = answer.read(RESPONSE_BYTES_MAX).await?;
        parse(&body).map_err(|error| ClientError::from_json(&error, &body))
    }
}

/// Parses a listing of a server before 2023-10-24: one object a line, unsorted, the last of which may be
/// an error.
fn parse_lines(body: &[u8]) -> Result<KeyList, ClientError> {
    #[derive(Deserialize)]
    struct Line {
        #[serde(default, alias = "Name", alias = "identity")]
        name: String,
        #[serde(default)]
        error: String,
    }
    let mut names = Vec::new();
    for line in serde_json::Deserializer::from_slice(body).into_iter::<Line>() {
        let line = line.map_err(|error| ClientError::from_json(&error, body))?;
        if !line.error.is_empty() {
            return Err(ClientError::InvalidResponse(line.error));
        }
        names.push(line.name);
    }
    names.sort_unstable();
    Ok(KeyList {
        names,
        continue_at: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_older_servers_are_read() {
        let body = b"{\"name\":\"b\"}\n{\"Name\":\"a\"}\n{\"identity\":\"c\",\"admin\":true}\n";
        assert_eq!(parse_lines(body).expect("lines").names, ["a", "b", "c"]);
        assert_eq!(parse_lines(b"").expect("no lines"), KeyList::default());
        let failed = parse_lines(b"{\"name\":\"b\"}\n{\"error\":\"broken\"}\n");
        assert_eq!(failed.expect_err("an error").to_string(), "broken");
        assert!(parse_lines(b"{\"name\":").is_err());
    }
}
