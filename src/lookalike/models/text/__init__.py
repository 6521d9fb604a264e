"""What reads words in a Space: the text tower of a Model, or the classes of its classifier."""
