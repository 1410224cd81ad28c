# In Slicer this writes the extension's description and sets CPack up; here the description alone, one "key=value" a line.
set(stand_in_description "NAME=${PROJECT_NAME}\n")
foreach(key HOMEPAGE CONTRIBUTORS DESCRIPTION ICONURL SCREENSHOTURLS DEPENDS LICENSE_FILE README_FILE)
  string(APPEND stand_in_description "${key}=${EXTENSION_${key}}\n")
endforeach()
file(WRITE ${CMAKE_BINARY_DIR}/description.txt "${stand_in_description}")
