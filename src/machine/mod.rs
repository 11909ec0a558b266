//! Layer 2: the replicated state machine, pure. No clock, no randomness, no I/O, no plaintext.
