"""Many runs side by side: tables, exports, studies, significance."""
