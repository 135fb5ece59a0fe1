"use strict";
// Of every page, before its own script: the theme switch.
const byId = (id) => document.getElementById(id);

const theme = byId("theme");
const applyTheme = () => {
  if (theme.value) document.documentElement.dataset.theme = theme.value;
  else delete document.documentElement.dataset.theme;
};
theme.addEventListener("change", applyTheme);
applyTheme(); // browsers keep the choice when a page is loaded again
