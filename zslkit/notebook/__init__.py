"""What a notebook or script calls beside `run`: compare, study, predict, published, and plots."""
