"""Reports over many runs: comparison tables, exports, studies, significance."""
