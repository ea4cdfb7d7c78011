//! WAV files, written on their own thread.
