"""Result trees of OSWorld and Windows Agent Arena."""
