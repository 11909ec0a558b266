//! The `cluster` section as it was written. Absent texts are empty; what is missing or contradictory
//! is for [`super::resolve`] to tell.

use crate::base::secret::SecretString;
use crate::config::duration::GoDuration;
use crate::config::reader::Reader;
use crate::config::section::Section;

pub(in crate::config) struct ClusterFile {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) advertise: String,
    pub(super) api: String,
    pub(super) path: String,
    pub(super) root_key_file: String,
    pub(super) root_key_value: SecretString,
    /// In the order of the file.
    pub(super) members: Vec<(String, String)>,
    // A zero is not the same as nothing here: it is refused, or switches something off.
    pub(super) heartbeat: Option<GoDuration>,
    pub(super) election: Option<GoDuration>,
    pub(super) stale_reads: Option<GoDuration>,
}

impl ClusterFile {
    /// Reads the section `cluster` of `root`, if there is one.
    pub(in crate::config) fn read(reader: &mut Reader<'_>, root: &mut Section) -> Option<Self> {
        let mut section = reader.subsection(root, "cluster")?;
        let (root_key_file, root_key_value) = read_root_key(reader, &mut section);
        let (heartbeat, election) = read_timing(reader, &mut section);
        let file = Self {
            name: reader.string(&mut section, "name"),
            address: reader.string(&mut section, "address"),
            advertise: reader.string(&mut section, "advertise"),
            api: reader.string(&mut section, "api"),
            path: reader.string(&mut section, "path"),
            root_key_file,
            root_key_value,
            members: read_members(reader, &mut section),
            heartbeat,
            election,
            stale_reads: reader.optional_duration(&mut section, "stale_reads"),
        };
        reader.close(&section);
        Some(file)
    }
}

fn read_root_key(reader: &mut Reader<'_>, cluster: &mut Section) -> (String, SecretString) {
    let Some(mut section) = reader.subsection(cluster, "root_key") else {
        return <(String, SecretString)>::default();
    };
    let keys = (
        reader.string(&mut section, "file"),
        reader.secret(&mut section, "value"),
    );
    reader.close(&section);
    keys
}

fn read_timing(
    reader: &mut Reader<'_>,
    cluster: &mut Section,
) -> (Option<GoDuration>, Option<GoDuration>) {
    let Some(mut section) = reader.subsection(cluster, "timing") else {
        return (None, None);
    };
    let timing = (
        reader.optional_duration(&mut section, "heartbeat"),
        reader.optional_duration(&mut section, "election"),
    );
    reader.close(&section);
    timing
}

fn read_members(reader: &mut Reader<'_>, cluster: &mut Section) -> Vec<(String, String)> {
    let Some(section) = reader.subsection(cluster, "members") else {
        return Vec::new();
    };
    let entries = section.into_entries();
    entries
        .map(|(name, node)| (name, reader.text(&node)))
        .collect()
}
