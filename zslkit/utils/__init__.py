"""Files, locks, progress, devices and processes: what all else stands on."""
