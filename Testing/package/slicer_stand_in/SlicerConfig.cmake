# Plays what `find_package(Slicer)` brings to a scripted extension: the four variables that its top CMakeLists.txt reads.
# Written for this project's tests; what each macro does in Slicer 5.12 is said in Testing/package/README.md.
set(Slicer_USE_FILE ${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${CMAKE_CURRENT_LIST_DIR}/GenerateConfig.cmake)
set(Slicer_EXTENSION_CPACK ${CMAKE_CURRENT_LIST_DIR}/Package.cmake)
set(Slicer_LICENSE_FILE ${CMAKE_CURRENT_LIST_DIR}/SlicerLicense.txt)
set(Slicer_README_FILE ${CMAKE_CURRENT_LIST_DIR}/SlicerReadme.txt)
