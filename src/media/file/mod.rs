//! Audio files, decoded into a ring by a thread of their own.
