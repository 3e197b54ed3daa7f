"""Files, locks, progress, devices and processes: helpers used by every other folder."""
