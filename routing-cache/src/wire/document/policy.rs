//! Limits and retries of a route, and an app's own error pages.

use std::{collections::BTreeMap, sync::Arc};

use http::StatusCode;

use super::{
    error::DocumentError,
    json::Node,
    read::{Read, duration, each, entries, fields, one_of, repeated, text, twice, unknown, whole_u32},
};
use crate::model::{ErrorPages, Retries, RetryOn, Timeouts};

/// The most further attempts. Ours: more than ten repeats of one request are an attack on the upstream.
const MAX_ATTEMPTS: u32 = 10;
/// The size of all error pages of an app, in bytes. Source: spec/app-document.md.
const MAX_ERROR_PAGE_BYTES: usize = 16 << 10;

const RETRY_ON: [(&str, RetryOn); 6] = [
    ("connect-failure", RetryOn::ConnectFailure),
    ("reset-before-response", RetryOn::ResetBeforeResponse),
    ("timeout", RetryOn::Timeout),
    ("502", RetryOn::Status(StatusCode::BAD_GATEWAY)),
    ("503", RetryOn::Status(StatusCode::SERVICE_UNAVAILABLE)),
    ("504", RetryOn::Status(StatusCode::GATEWAY_TIMEOUT)),
];

/// `{"request":"30s","connect":"1s","idle":"60s","per_try":"5s"}`
pub(super) fn timeouts(node: Node<'_>) -> Read<Timeouts> {
    let mut timeouts = Timeouts::default();
    fields(node, |field, node| {
        match field {
            "request" => timeouts.request = Some(duration(node)?),
            "connect" => timeouts.connect = Some(duration(node)?),
            "idle" => timeouts.idle = Some(duration(node)?),
            "per_try" => timeouts.per_try = Some(duration(node)?),
            _ => return Err(unknown("request, connect, idle, per_try")),
        }
        Ok(())
    })?;
    Ok(timeouts)
}

/// `{"attempts":2,"on":["connect-failure"]}`; what is absent is as without retries given.
pub(super) fn retries(node: Node<'_>) -> Read<Retries> {
    let mut retries = Retries::default();
    fields(node, |field, node| {
        match field {
            "attempts" => retries.attempts = whole_u32(&node, 0..=MAX_ATTEMPTS)?,
            "on" => retries.on = causes(node)?,
            _ => return Err(unknown("attempts, on")),
        }
        Ok(())
    })?;
    Ok(retries)
}

fn causes(node: Node<'_>) -> Read<Vec<RetryOn>> {
    let causes = each(node, |node| one_of(node, &RETRY_ON))?;
    let numbers = causes.iter().map(|cause| RETRY_ON.iter().position(|(_, known)| known == cause));
    match repeated(numbers) {
        Some(index) => Err(twice().in_item(index)),
        None => Ok(causes),
    }
}

/// A retry after a time-out needs to know when an attempt has timed out.
pub(super) fn check_per_try(retries: &Retries, timeouts: &Timeouts) -> Read<()> {
    if retries.on.contains(&RetryOn::Timeout) && timeouts.per_try.is_none() {
        let error = DocumentError::new("\"timeout\" needs timeouts.per_try");
        return Err(error.in_field("on").in_field("retries"));
    }
    Ok(())
}

/// `{"503":"<html>..."}`
pub(super) fn error_pages(node: Node<'_>) -> Read<ErrorPages> {
    let pages: BTreeMap<_, Arc<str>> =
        entries(node, |key, node| Ok((error_status(key)?, Arc::from(&*text(node)?))))?.into_iter().collect();
    let bytes: usize = pages.values().map(|page| page.len()).sum();
    if bytes > MAX_ERROR_PAGE_BYTES {
        let message = format!("are {bytes} bytes in all, the limit is {MAX_ERROR_PAGE_BYTES}");
        return Err(DocumentError::new(message));
    }
    Ok(pages)
}

fn error_status(key: &str) -> Read<u16> {
    let digits = key.len() == 3 && key.bytes().all(|byte| byte.is_ascii_digit());
    let status = key.parse().ok().filter(|status| digits && (400..=599).contains(status));
    status.ok_or_else(|| DocumentError::new("is not a status from 400 to 599"))
}
