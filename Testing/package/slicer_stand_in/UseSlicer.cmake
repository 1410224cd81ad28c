# The defaults and macros that Slicer gives to a scripted extension.
set(stand_in_modules lib/Slicer-5.12/qt-scripted-modules)

foreach(file LICENSE README)
  if(NOT DEFINED EXTENSION_${file}_FILE)
    set(EXTENSION_${file}_FILE ${Slicer_${file}_FILE})
  endif()
endforeach()

# slicerMacroBuildScriptedModule(NAME n SCRIPTS ... RESOURCES ... [WITH_GENERIC_TESTS] [WITH_SUBDIR])
macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(one "WITH_GENERIC_TESTS;WITH_SUBDIR;VERBOSE" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(one_UNPARSED_ARGUMENTS OR NOT one_NAME)
    message(FATAL_ERROR "slicerMacroBuildScriptedModule: no NAME, or unknown words: ${one_UNPARSED_ARGUMENTS}")
  endif()
  # As in Slicer, a module without WITH_SUBDIR installs the whole build folder, so what lies there by accident ships.
  set(one_built ${CMAKE_BINARY_DIR}/${stand_in_modules})
  set(one_installed ${one_built}/)
  if(one_WITH_SUBDIR)
    get_filename_component(one_folder ${CMAKE_CURRENT_SOURCE_DIR} NAME)
    string(APPEND one_built /${one_folder})
    set(one_installed ${one_built})
  endif()
  set(one_copies)
  foreach(file IN LISTS one_SCRIPTS one_RESOURCES)
    if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${file})
      message(FATAL_ERROR "${one_NAME}: ${file} is in a list, but not in ${CMAKE_CURRENT_SOURCE_DIR}")
    endif()
    add_custom_command(
      OUTPUT ${one_built}/${file}
      DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${file}
      COMMAND ${CMAKE_COMMAND} -E copy ${CMAKE_CURRENT_SOURCE_DIR}/${file} ${one_built}/${file}
      )
    list(APPEND one_copies ${one_built}/${file})
  endforeach()
  add_custom_target(Copy${one_NAME} ALL DEPENDS ${one_copies})
  install(DIRECTORY ${one_installed} DESTINATION ${stand_in_modules})
endmacro()

# slicer_add_python_unittest(SCRIPT file): Slicer would run it; here the file must exist.
macro(slicer_add_python_unittest)
  cmake_parse_arguments(one "" "TESTNAME_PREFIX;SCRIPT" "SLICER_ARGS" ${ARGN})
  if(one_UNPARSED_ARGUMENTS OR NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${one_SCRIPT})
    message(FATAL_ERROR "slicer_add_python_unittest: no file ${one_SCRIPT}, or unknown words: ${one_UNPARSED_ARGUMENTS}")
  endif()
endmacro()
