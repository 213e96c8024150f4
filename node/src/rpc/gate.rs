//! Who may speak to the server at all.
//!
//! A node listens on its owner's machine, where a browser also runs pages of strangers. A page may send
//! requests to loopback addresses, so those that a browser marks with a foreign origin are refused, and so
//! are those whose host is a name that we do not know: a stranger's name may have been rebound to this
//! address. Programs that are no browsers send no origin.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use jsonrpsee::core::BoxError;
use jsonrpsee::server::{HttpBody, HttpRequest, HttpResponse};
use tower::{Layer, Service};

use super::Config;

/// The layer around the server.
#[derive(Clone, Debug)]
pub struct Gate {
    rules: Arc<Rules>,
}

#[derive(Debug)]
struct Rules {
    origins: Vec<String>,
    hosts: Vec<String>,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("the request names no host")]
    NoHost,
    #[error("the node is not known under this host name; use its address, or localhost")]
    ForeignHost,
    #[error("pages of this origin may not connect; allow it with --rpc-cors")]
    ForeignOrigin,
}

impl Gate {
    /// The gate of a configuration.
    pub fn new(config: &Config) -> Self {
        Self { rules: Arc::new(Rules { origins: config.origins.clone(), hosts: config.hosts.clone() }) }
    }
}

impl Rules {
    /// Whether a request may pass. Tells the foreign origin that was allowed, if it has one.
    fn judge<'a>(&self, host: Option<&str>, origin: Option<&'a str>) -> Result<Option<&'a str>, Refusal> {
        let host = host.ok_or(Refusal::NoHost)?;
        if !self.knows(host_name(host)) {
            return Err(Refusal::ForeignHost);
        }
        let Some(origin) = origin else { return Ok(None) };
        let own = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        if own == Some(host) {
            return Ok(None);
        }
        let allowed = self.origins.iter().any(|allowed| allowed == "*" || allowed == origin);
        allowed.then_some(Some(origin)).ok_or(Refusal::ForeignOrigin)
    }

    /// Bare addresses cannot be rebound, and `localhost` is ours.
    fn knows(&self, name: &str) -> bool {
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        name == "localhost" || bare.parse::<IpAddr>().is_ok() || self.hosts.iter().any(|known| known == name)
    }
}

/// `name` or `[address]` of `name:port` or `[address]:port`.
fn host_name(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { inner, rules: Arc::clone(&self.rules) }
    }
}

/// The server behind the gate.
#[derive(Clone, Debug)]
pub struct Gated<S> {
    inner: S,
    rules: Arc<Rules>,
}

impl<S, B> Service<HttpRequest<B>> for Gated<S>
where
    S: Service<HttpRequest<B>, Response = HttpResponse, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = HttpResponse;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: HttpRequest<B>) -> Self::Future {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let host = header("host").or_else(|| request.uri().authority().map(|authority| authority.as_str()));
        let verdict = self.rules.judge(host, header("origin")).map(|origin| origin.map(str::to_owned));
        match verdict {
            Err(refusal) => Box::pin(async move { plain(403, None, refusal.to_string()) }),
            Ok(None) => Box::pin(self.inner.call(request)),
            Ok(Some(origin)) if request.method() == "OPTIONS" => {
                Box::pin(async move { plain(204, Some(&origin), String::new()) })
            }
            Ok(Some(origin)) => {
                let answer = self.inner.call(request);
                Box::pin(async move {
                    let mut response = answer.await?;
                    response.headers_mut().insert(ALLOW_ORIGIN, origin.parse()?);
                    Ok(response)
                })
            }
        }
    }
}

const ALLOW_ORIGIN: &str = "access-control-allow-origin";

fn plain(status: u16, origin: Option<&str>, body: String) -> Result<HttpResponse, BoxError> {
    let mut response = HttpResponse::builder().status(status).header("vary", "origin");
    if let Some(origin) = origin {
        response = response
            .header(ALLOW_ORIGIN, origin)
            .header("access-control-allow-methods", "POST")
            .header("access-control-allow-headers", "content-type");
    }
    Ok(response.body(HttpBody::from(body))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_pages_and_rebound_names_are_refused() {
        let rules = Rules { origins: vec!["https://polkadot.js.org".into()], hosts: vec!["node.lan".into()] };
        let judge = |host, origin| rules.judge(Some(host), origin);
        let (foreign_host, foreign_origin) = (Err(Refusal::ForeignHost), Err(Refusal::ForeignOrigin));
        type Verdict = Result<Option<&'static str>, Refusal>;
        let cases: [(&str, Option<&'static str>, Verdict, &str); 12] = [
            ("127.0.0.1:9944", None, Ok(None), "a program on this machine"),
            ("localhost:9944", None, Ok(None), "by name"),
            ("[::1]:9944", None, Ok(None), "by IPv6"),
            ("192.168.0.7", None, Ok(None), "a program in this network"),
            ("node.lan:9944", None, Ok(None), "a name that the owner gave"),
            ("evil.example:9944", None, foreign_host, "a stranger's name"),
            ("127.0.0.1.evil.example", None, foreign_host, "a stranger's name that looks like an address"),
            ("127.0.0.1:9944", Some("http://127.0.0.1:9944"), Ok(None), "the node's own page"),
            ("evil.example", Some("http://evil.example"), foreign_host, "a rebound name's page"),
            ("localhost:9944", Some("http://localhost:3000"), foreign_origin, "a page of another program"),
            ("localhost:9944", Some("null"), foreign_origin, "a page without origin"),
            (
                "localhost:9944",
                Some("https://polkadot.js.org"),
                Ok(Some("https://polkadot.js.org")),
                "on the list",
            ),
        ];
        for (host, origin, verdict, reason) in cases {
            assert_eq!(judge(host, origin), verdict, "{reason}");
        }
        assert_eq!(rules.judge(None, None), Err(Refusal::NoHost));
    }
}
