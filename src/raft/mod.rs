//! Layer 4: consensus: who leads, what is committed, and how nodes talk to each other.
