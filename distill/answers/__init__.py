"""What a teacher answers to each training image, stored once and learned from by any number of students."""
