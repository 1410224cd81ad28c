"""Two examinations of one patient: lungs aligned, nodules matched, growth measured."""
