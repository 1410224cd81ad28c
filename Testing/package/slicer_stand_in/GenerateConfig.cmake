# In Slicer this lets other extensions build against C++ libraries; a scripted extension has none.
