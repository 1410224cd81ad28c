"""The same nodule in a browser: `nodulerisk serve`."""
