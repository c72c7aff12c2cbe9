"""What ``oddframe watch`` is made of: cameras read live, and messages about what they show."""
