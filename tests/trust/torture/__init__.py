"""Kill the real command line at random moments, and look whether anything is lost, doubled, wrong or left over.

`world` holds the pictures and what is done to them, `witness` what is looked at afterwards, `trial` how it is killed.
"""
