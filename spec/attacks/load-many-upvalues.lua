-- A function with more upvalues than one may have.
-- worker: load load%-many%-upvalues%.lua:.*too many upvalues.*
local v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14
local v15, v16, v17, v18, v19, v20, v21, v22, v23, v24, v25, v26, v27, v28, v29
local v30, v31, v32, v33, v34, v35, v36, v37, v38, v39, v40, v41, v42, v43, v44
local v45, v46, v47, v48, v49, v50, v51, v52, v53, v54, v55, v56, v57, v58, v59
local v60, v61, v62, v63, v64, v65, v66, v67, v68, v69, v70, v71, v72, v73, v74
local v75, v76, v77, v78, v79, v80, v81, v82, v83, v84, v85, v86, v87, v88, v89
local v90, v91, v92, v93, v94, v95, v96, v97, v98, v99, v100, v101, v102, v103, v104
local v105, v106, v107, v108, v109, v110, v111, v112, v113, v114, v115, v116, v117, v118, v119
local v120, v121, v122, v123, v124, v125, v126, v127, v128, v129, v130, v131, v132, v133, v134
local v135, v136, v137, v138, v139, v140, v141, v142, v143, v144, v145, v146, v147, v148, v149
local function inner()
  local w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14
  local w15, w16, w17, w18, w19, w20, w21, w22, w23, w24, w25, w26, w27, w28, w29
  local w30, w31, w32, w33, w34, w35, w36, w37, w38, w39, w40, w41, w42, w43, w44
  local w45, w46, w47, w48, w49, w50, w51, w52, w53, w54, w55, w56, w57, w58, w59
  local w60, w61, w62, w63, w64, w65, w66, w67, w68, w69, w70, w71, w72, w73, w74
  local w75, w76, w77, w78, w79, w80, w81, w82, w83, w84, w85, w86, w87, w88, w89
  local w90, w91, w92, w93, w94, w95, w96, w97, w98, w99, w100, w101, w102, w103, w104
  local w105, w106, w107, w108, w109, w110, w111, w112, w113, w114, w115, w116, w117, w118, w119
  local w120, w121, w122, w123, w124, w125, w126, w127, w128, w129, w130, w131, w132, w133, w134
  local w135, w136, w137, w138, w139, w140, w141, w142, w143, w144, w145, w146, w147, w148, w149
  return function()
    return {
      v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14,
      v15, v16, v17, v18, v19, v20, v21, v22, v23, v24, v25, v26, v27, v28, v29,
      v30, v31, v32, v33, v34, v35, v36, v37, v38, v39, v40, v41, v42, v43, v44,
      v45, v46, v47, v48, v49, v50, v51, v52, v53, v54, v55, v56, v57, v58, v59,
      v60, v61, v62, v63, v64, v65, v66, v67, v68, v69, v70, v71, v72, v73, v74,
      v75, v76, v77, v78, v79, v80, v81, v82, v83, v84, v85, v86, v87, v88, v89,
      v90, v91, v92, v93, v94, v95, v96, v97, v98, v99, v100, v101, v102, v103, v104,
      v105, v106, v107, v108, v109, v110, v111, v112, v113, v114, v115, v116, v117, v118, v119,
      v120, v121, v122, v123, v124, v125, v126, v127, v128, v129, v130, v131, v132, v133, v134,
      v135, v136, v137, v138, v139, v140, v141, v142, v143, v144, v145, v146, v147, v148, v149,
      w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14,
      w15, w16, w17, w18, w19, w20, w21, w22, w23, w24, w25, w26, w27, w28, w29,
      w30, w31, w32, w33, w34, w35, w36, w37, w38, w39, w40, w41, w42, w43, w44,
      w45, w46, w47, w48, w49, w50, w51, w52, w53, w54, w55, w56, w57, w58, w59,
      w60, w61, w62, w63, w64, w65, w66, w67, w68, w69, w70, w71, w72, w73, w74,
      w75, w76, w77, w78, w79, w80, w81, w82, w83, w84, w85, w86, w87, w88, w89,
      w90, w91, w92, w93, w94, w95, w96, w97, w98, w99, w100, w101, w102, w103, w104,
      w105, w106, w107, w108, w109, w110, w111, w112, w113, w114, w115, w116, w117, w118, w119,
      w120, w121, w122, w123, w124, w125, w126, w127, w128, w129, w130, w131, w132, w133, w134,
      w135, w136, w137, w138, w139, w140, w141, w142, w143, w144, w145, w146, w147, w148, w149
    }
  end
end

return { api = 1, rules = { rule.global_pool } }
