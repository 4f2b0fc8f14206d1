//! Serf's own queries. "Who owns this name" is answered, because a Serf whose name is claimed twice asks it and shuts itself
//! down when nobody knows it; we never ask it ourselves. Changing keys at run time comes later: such a query is answered
//! with a refusal, so that its asker does not wait.

use std::time::Duration;

use super::Pool;
use super::api::QueryHandle;
use crate::swim::Out;
use crate::wire::msgpack::Writer;
use crate::wire::query::NameOwner;

const PREFIX: &str = "_serf_";
/// Serf's kind of an answer about keys.
const KEY_RESPONSE: u8 = 8;

impl Pool {
    pub(super) fn is_internal(&self, query: &str) -> bool {
        query.starts_with(PREFIX)
    }

    pub(super) fn answer_internal(
        &mut self,
        now: Duration,
        query: &str,
        payload: &[u8],
        handle: &QueryHandle,
        out: &mut Out,
    ) {
        let answer = match query.strip_prefix(PREFIX) {
            Some("conflict") => self.name_owner(payload),
            Some("install-key" | "use-key" | "remove-key" | "list-keys") => Some(no_keys()),
            // A ping wants no more than the acknowledgement.
            _ => None,
        };
        if let Some(answer) = answer {
            // Too late or too large: then there is no answer, as in Serf.
            let _ = self.respond(now, handle, &answer, out);
        }
    }

    /// Nobody is asked about itself.
    fn name_owner(&self, name: &[u8]) -> Option<Vec<u8>> {
        let name = std::str::from_utf8(name).ok()?;
        if name == &**self.swim.name() {
            return None;
        }
        let member = self.roster.get(name);
        let tags = member.map(|member| member.tags()).unwrap_or_default();
        let owner = member.map(|member| NameOwner {
            name: &member.name,
            address: member.address,
            tags: tags
                .iter()
                .map(|(tag, value)| (&tag[..], &value[..]))
                .collect(),
            status: member.status as u8,
            versions: member.versions,
        });
        Some(NameOwner::encode(owner.as_ref()))
    }
}

fn no_keys() -> Vec<u8> {
    let mut writer = Writer::of_kind(KEY_RESPONSE);
    writer.map(4);
    writer.string("Keys");
    writer.nil();
    writer.string("Message");
    writer.string("this member cannot change keys at run time");
    writer.string("PrimaryKey");
    writer.string("");
    writer.string("Result");
    writer.boolean(false);
    writer.finish()
}
