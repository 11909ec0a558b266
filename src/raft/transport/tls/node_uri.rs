//! How a certificate names its node: `kes://node/` and the NodeId in 16 hexadecimal digits.

use std::fmt;

use crate::storage::NodeId;

const PREFIX: &str = "kes://node/";

/// The name of a node in its certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NodeUri(NodeId);

impl NodeUri {
    pub(super) fn of(node: NodeId) -> Self {
        Self(node)
    }

    /// The node that `text` names; `None` unless it is written exactly as [`Self`] is displayed, and
    /// for the node 0, which does not exist.
    pub(super) fn parse(text: &str) -> Option<NodeId> {
        let digits = text.strip_prefix(PREFIX)?;
        let node = NodeId::from_str_radix(digits, 16).ok()?;
        (node != 0 && Self(node).to_string() == text).then_some(node)
    }
}

impl fmt::Display for NodeUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_has_one_name() {
        assert_eq!(NodeUri::of(0xab).to_string(), "kes://node/00000000000000ab");
        for node in [1, 0xab, NodeId::MAX] {
            assert_eq!(NodeUri::parse(&NodeUri::of(node).to_string()), Some(node));
        }
        for text in [
            "",
            "kes://node/",
            "kes://node/ab",
            "kes://node/00000000000000AB",
            "kes://node/+0000000000000ab",
            "kes://node/00000000000000ab/",
            "kes://node/000000000000000ab",
            "kes://node/0000000000000000",
            "kes://nodes/00000000000000ab",
            "KES://node/00000000000000ab",
        ] {
            assert_eq!(NodeUri::parse(text), None, "{text}");
        }
    }
}
